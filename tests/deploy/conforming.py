"""Run by the Python that has kubernetes-validate: are manifests as Kubernetes wants them?

    python conforming.py VERSION FOLDER < manifests

Kinds that Kubernetes does not know are looked up in FOLDER, as KIND_VERSION.json.  Unknown keys are
wrong.  Ends with 1 and a line for each thing that is wrong.
"""

import json
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml


def problem(document: dict, version: str, folder: Path) -> str | None:
    group, _, name = document["apiVersion"].rpartition("/")
    further = folder / f"{document['kind'].lower()}_{name}.json"
    try:
        if "." in group and further.exists():
            jsonschema.validate(document, json.loads(further.read_text()))
        else:
            kubernetes_validate.validate(document, version, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return f"{document['kind']}: {'/'.join(map(str, error.path))}: {error.message}"
    return None


def main(version: str, folder: str) -> int:
    documents = [each for each in yaml.safe_load_all(sys.stdin) if each is not None]
    problems = [problem(each, version, Path(folder)) for each in documents]
    for line in filter(None, problems):
        print(line)
    return 1 if any(problems) or not documents else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
