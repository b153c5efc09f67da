"""Phase fuse: every op into a dispatch, one dispatch one kernel."""
