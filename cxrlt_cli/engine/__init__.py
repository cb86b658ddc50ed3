"""What every command stands on: processes, films on the disk, prediction, tables that grow, locks, the reporter."""
