//go:build proxy

package main

import (
	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-proxy/app"
)

func init() {
	programs["kube-proxy"] = func() int { return cli.Run(app.NewProxyCommand()) }
}
