# kymod.
