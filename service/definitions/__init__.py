"""Node definitions: the YAML format, and all that is compiled from it.

Files become Structs (`schema`), are checked one by one (`loader`) and together (`lint`), and are compiled
once into what serves every run: the input check (`inputs`, `media`), the outgoing request (`request`) and
the reader of upstream answers (`reader`). `catalog` holds the compiled nodes. Nothing here does network I/O.
"""
