// Command controlplane is every Kubernetes program that the tests run, in one binary, since what they share is most of
// each. It is the program whose name it is called by, through a link, or the one that its first argument names.
//
// Each program is a file of its own behind a build tag of the same name, so that one can be built alone:
//
//	go build -tags 'apiserver etcd' -o controlplane .
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// programs by the names that they have elsewhere. What runs one returns its exit status and reads os.Args.
var programs = map[string]func() int{}

func main() {
	name := filepath.Base(os.Args[0])
	run, known := programs[name]
	if !known && len(os.Args) > 1 {
		run, known = programs[os.Args[1]]
		os.Args = os.Args[1:]
	}
	if !known {
		names := slices.Sorted(maps.Keys(programs))
		fmt.Fprintf(os.Stderr, "usage: %s %s [flags]\n", name, strings.Join(names, "|"))
		os.Exit(2)
	}
	os.Exit(run())
}
