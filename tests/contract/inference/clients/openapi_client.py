"""The published schema of OpenAPI 3.1, in an environment of its own."""

import json
import sys
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator

with urllib.request.urlopen(f"{sys.argv[1]}/openapi.json", timeout=10) as answer:
    document = json.load(answer)
print(json.dumps({"errors": [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()]}))
