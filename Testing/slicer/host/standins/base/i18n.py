"""Translation of texts; see the contract's `slicer.i18n`."""

import inspect
import logging
import re
from functools import cache
from pathlib import Path

# {name} stands for a value, {{name}} is a literal brace
_PLACEHOLDER = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")


def translate(context, text):
    """`text` in the language of the application; as it is where no application runs."""
    import slicer

    app = getattr(slicer, "app", None)
    return text if app is None else app.translate(context, text)


@cache
def _contextOfFile(sourceFile):
    path = Path(sourceFile)
    if not path.is_file():
        return path.name
    name = path.name.removesuffix(".py")
    return f"{path.parent.name}.{name}" if (path.parent / "__init__.py").is_file() else name


def getContext(sourceFile):
    """Where lupdate files the texts of `sourceFile`: its name, after that of its package if it is in one."""
    return _contextOfFile(str(sourceFile))


def tr(text):
    """`text` translated in the context of the calling file; a translation that loses a {placeholder} is refused."""
    caller = inspect.currentframe().f_back
    context = getContext(inspect.getsourcefile(caller) or caller.f_code.co_filename)
    translated = translate(context, text)
    if set(_PLACEHOLDER.findall(translated)) != set(_PLACEHOLDER.findall(text)):
        logging.warning("%s: the translation of %r to %r has other placeholders; not used", context, text, translated)
        return text
    return translated
