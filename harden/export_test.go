package harden

// ServeWith is Serve with the function that serves.
var ServeWith = serve
