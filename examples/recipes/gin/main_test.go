package main

import (
	"testing"

	"github.com/authkit-go/authkit/contract"
	"github.com/authkit-go/authkit/examples/recipes/recipestest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, recipestest.Target(t, routes,
		contract.Route{Method: "GET", Path: "/hello", Access: contract.LoggedIn},
		contract.Route{Method: "GET", Path: "/admin/stats", Access: contract.AdminOnly}))
}
