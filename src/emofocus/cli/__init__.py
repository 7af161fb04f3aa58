"""The command emofocus, one file a command."""
