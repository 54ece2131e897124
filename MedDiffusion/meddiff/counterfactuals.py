"""How good a counterfactual is: near to the original, and no longer one of its kind."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .errors import BadInput


@dataclass(frozen=True)
class Diagonal:
    """Normal distributions with independent axes, such as the posteriors of a variational autoencoder: the mean and the
    logarithm of the variance, both (B, D)."""

    mean: Tensor
    log_variance: Tensor


def kl(p: Diagonal, q: Diagonal) -> Tensor:
    """KL(p || q) in nats, the sum over the axes of (log v_q - log v_p + (v_p + (m_p - m_q)^2) / v_q - 1) / 2; (B,)."""
    growth = p.log_variance - q.log_variance
    shift = (p.mean - q.mean).square() * (-q.log_variance).exp()
    return 0.5 * (growth.exp() - 1 - growth + shift).sum(-1)


def counterfactual_divergence(
    counterfactual: Diagonal,
    original: Diagonal,
    target: Diagonal,
    source: Diagonal,
    weights: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """The counterfactual latent divergence (Sanchez & Tsaftaris 2022, Diff-SCM, sec. 4.2), (B,); less is better.

    log(w1 exp P(S_target <= d) + w2 exp P(S_source >= d)), where d is the KL from counterfactual to original and S that
    from real images of the target and of the source class to the original: a counterfactual should be nearer than most
    of the target, since it changes no more than it has to, and farther than most of the source, since it changes
    enough. From log(w1 + w2) for the best to 1 + log(w1 + w2) for the worst.
    """
    if not len(target.mean) or not len(source.mean) or min(weights) < 0 or not sum(weights):
        raise BadInput(
            f"{len(target.mean)} target and {len(source.mean)} source images came, with weights {weights}; expected "
            "one or more of each, and weights of which none is negative and one is not 0"
        )
    divergence = kl(counterfactual, original)
    target, source = (Diagonal(real.mean[:, None], real.log_variance[:, None]) for real in (target, source))
    near = (kl(target, original) <= divergence).to(divergence).mean(0)
    far = (kl(source, original) >= divergence).to(divergence).mean(0)
    return (weights[0] * near.exp() + weights[1] * far.exp()).log()
