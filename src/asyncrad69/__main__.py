"""``python -m asyncrad69`` is ``rad69``."""

from .cli import main

if __name__ == "__main__":
    main()
