"""Recognition over HTTP and a socket. `serving.app` joins the parts; none of them stores or logs audio."""
