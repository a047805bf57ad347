# SPDX-License-Identifier: Apache-2.0
"""Give out tokens for the API of `fastlb serve`, list them, revoke them."""

import argparse
import pathlib
import sys
from typing import Any

from fastlb.api import settings
from fastlb.api.tokens import ROLES, Tokens
from fastlb.cli.tables import table
from fastlb.errors import ConfigError, ConfigFileError

EPILOG = """\
examples:
  fastlb token create --project web --role member --name terraform     prints the token, this once
  openstack --os-auth-type admin_token --os-endpoint https://lb.example:9876 --os-token fastlb_… loadbalancer list
  fastlb token revoke terraform                                        a running server refuses it from then on

What is kept of a token, in the file that the server reads, is a hash.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create", help="print a new token", description="Print a new token, this once."
    )
    create.add_argument("--project", required=True, metavar="ID", help="whose objects it is about")
    create.add_argument(
        "--role",
        required=True,
        choices=ROLES,
        help="member: reads and writes what is the project's; observer: reads it; admin: everything, of all projects",
    )
    create.add_argument("--name", default="", help="to know it by in the list")
    listing = actions.add_parser("list", help="who has tokens", description="Who has tokens.")
    revoke = actions.add_parser("revoke", help="forget a token", description="Forget a token.")
    revoke.add_argument("token", metavar="NAME_OR_ID")
    for action in (create, listing, revoke):
        action.add_argument("--state", metavar="DIR", help="the server's --state")
        action.add_argument("--config", metavar="FILE", help="the server's --config, which may name the file")


def run(options: argparse.Namespace) -> int:
    try:
        tokens = Tokens(file(options))
    except (ConfigError, ConfigFileError) as error:
        print(f"fastlb: {error}", file=sys.stderr)
        return 2
    if options.action == "create":
        token, secret = tokens.create(project_id=options.project, role=options.role, name=options.name)
        print(
            f"token {token.id} of project {token.project_id}, role {token.role}: kept in {tokens.path}",
            file=sys.stderr,
        )
        print(secret, flush=True)
    elif options.action == "revoke":
        token = tokens.revoke(options.token)
        print(f"token {token.id} of project {token.project_id}, role {token.role}: revoked", flush=True)
    else:
        rows = [(one.id, one.name, one.project_id, one.role, one.created_at) for one in tokens.all()]
        print(table(("id", "name", "project", "role", "created"), rows), flush=True)
    return 0


def file(options: argparse.Namespace) -> pathlib.Path:
    given: dict[str, Any] = {} if options.state is None else {"state": options.state}
    return settings.load(options.config, given).tokens_file
