"""``python -m stcli``."""

from stcli.cli.app import main

if __name__ == "__main__":
    main()
