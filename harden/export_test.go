package harden

// ServeFor is Serve with another time for the requests in progress.
var ServeFor = serve
