"""Two accounts in one database: nothing that one does reads, counts or changes anything of the other."""
