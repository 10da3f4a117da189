"""For mdBook: links to files outside of docs/ lead to the repository, since a site has no such files.

mdBook runs it twice: with `supports <renderer>`, then with the book on standard input (a list of context and book).
"""

import json
import re
import sys

REPOSITORY = "https://github.com/hanzoai/bitbucket-connection-operator/blob/main/"


def outside(value):
    if isinstance(value, list):
        return [outside(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: re.sub(r"\]\(\.\./", "](" + REPOSITORY, item)
        if name == "content" and isinstance(item, str)
        else outside(item)
        for name, item in value.items()
    }


if sys.argv[1:2] != ["supports"]:
    json.dump(outside(json.load(sys.stdin)[1]), sys.stdout)
