"""``python -m cxrlt_cli`` is ``cxrlt``."""

from cxrlt_cli.cli.app import main

if __name__ == "__main__":
    main()
