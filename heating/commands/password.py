"""`heating password`: the passwords that a deployment made for itself."""

import argparse
import os
import secrets
import sys
from pathlib import Path

from heating.commands import Commands
from heating.passwords import NAMES, PasswordError, make_passwords, read_password

FOLDER = Path("/etc/heating/secrets")
"""Where they are unless the environment or the command line says otherwise."""

SALT_BYTES = 12


def add(commands: Commands) -> None:
    """What `heating password` takes."""
    password = commands.add_parser("password", help="print a password that was made at the first start")
    password.add_argument("name", nargs="?", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    password.add_argument("--folder", type=Path, default=None, metavar="FOLDER", help="where they are")
    password.add_argument("--make", action="store_true", help="make those that are missing")
    password.add_argument(
        "--renew", action="append", default=[], choices=NAMES, metavar="NAME", help="make this one anew"
    )
    password.set_defaults(do=_password)


def _password(options: argparse.Namespace) -> int:
    """Print one, say which there are, or make them."""
    folder = options.folder or Path(os.environ.get("HEATING_SECRETS") or FOLDER)
    try:
        if options.make or options.renew:
            made = make_passwords(
                folder,
                renew=options.renew,
                choose=secrets.choice,
                draw_salt=lambda: secrets.token_bytes(SALT_BYTES),
            )
            print(f"made: {', '.join(made)}" if made else "every password is there")
        elif options.name is None:
            print("\n".join(NAMES))
        else:
            print(read_password(folder, options.name))
    except PasswordError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
