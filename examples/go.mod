module github.com/authkit-go/authkit/examples

go 1.26.0

require github.com/authkit-go/authkit v0.0.0

replace github.com/authkit-go/authkit => ../
