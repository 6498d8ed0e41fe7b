"""Nothing lost: what the client does when a source or the network fails, over real sockets."""
