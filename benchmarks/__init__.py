"""How fast asyncrad69 is, beside the floor and beside its peers. See README.md."""
