"""The command as a module, as torchrun starts it: ``torchrun --nproc-per-node 2 -m emofocus train …``."""

from emofocus.cli.main import main

main()
