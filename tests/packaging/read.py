# The CloudFormation template and the Terraform module as one JSON document, for the test beside this.
import glob, json, os, sys

import hcl2
from cfnlint.decode import decode

template, faults = decode(sys.argv[1])
if faults:
    sys.exit("\n".join(str(fault) for fault in faults))
files = [hcl2.load(open(path)) for path in sorted(glob.glob(os.path.join(sys.argv[2], "*.tf")))]
json.dump({"cloudformation": template, "terraform": files}, sys.stdout, default=str)
