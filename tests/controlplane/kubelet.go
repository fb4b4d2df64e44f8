//go:build kubelet

package main

import (
	"context"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kubelet/app"
)

func init() {
	programs["kubelet"] = func() int { return cli.Run(app.NewKubeletCommand(context.Background())) }
}
