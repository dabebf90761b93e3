//go:build !linux

package cluster

import "errors"

const insideEnv = "CLUSTER_LAB_INSIDE"

var errLinux = errors.New("only on Linux")

func goInside() (code int, done bool) { return 0, false }
func settleInside() error             { return nil }
func ip(...string) error              { return errLinux }
func mountSmall(string, int64) error  { return errLinux }
func resize(string, int64) error      { return errLinux }
func fill(string) error               { return errLinux }
func unmount(string) error            { return errLinux }
