package main

import (
	"cmp"
	"context"
	"runtime"
	"runtime/debug"
)

func version(_ context.Context, c *call) error {
	if _, err := c.parse(0, 0); err != nil {
		return err
	}
	module, revision := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		module = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	t, err := c.table("version", "revision", "go", "platform")
	if err != nil {
		return err
	}
	return t.row(cmp.Or(module, "(devel)"), revision, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
}
