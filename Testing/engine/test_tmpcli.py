from test_cli import *
from test_cli import reconstruction, cli
import json
def test_x(reconstruction, small_file, tmp_path):
    def job(d):
        inputs = {"volume": str(small_file)}
        options = {"acceleration": 2.0, "contrast": "T1", "samples": 2}
        run(Job("ddnm", "tiny-brain", inputs, str(tmp_path / d), options, {"steps": 2}, seed=5))
    code, out, err = reconstruction(small_file, "--acceleration", 2, "--contrast", "T1", "--seed", 5)
    for d in ("a","b","c"): job(d)
    A=[read(tmp_path/d/"reconstruction.nrrd").array for d in ("out","a","b","c")]
    print("MAXDIFF",[float(np.abs(A[0]-a).max()) for a in A[1:]], [float(np.abs(A[1]-a).max()) for a in A[2:]], float(np.abs(A[0]).max()))
    pa,pb=[json.loads((tmp_path/d/"provenance.json").read_text()) for d in ("out","a")]
    print("PROV",[ (k,pa[k],pb[k]) for k in pa if pa[k]!=pb[k]])
