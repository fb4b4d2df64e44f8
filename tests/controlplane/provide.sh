#!/bin/sh
# Prints the directory of the Kubernetes programs that the tests run: kube-apiserver, etcd, kubectl and others. With
# KUBEBUILDER_ASSETS it is that one; otherwise they are built here, once for each state of this folder, and kept in
# the user's cache.
set -eu
cd "$(dirname "$0")"

go_version=1.26.8
programs="etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet"

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
fail() { printf '%s\n' "$@" >&2; exit 1; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    for program in etcd kube-apiserver kubectl; do
        [ -x "$KUBEBUILDER_ASSETS/$program" ] || fail "KUBEBUILDER_ASSETS is set, but has no $program: $KUBEBUILDER_ASSETS"
    done
    echo "$KUBEBUILDER_ASSETS"
    exit
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/podwall
state=$(cat ./*.go go.mod go.sum provide.sh | sha256sum | cut -c 1-16)
built=$cache/control-plane-$state
mkdir -p "$cache"
# Whoever else wants the same waits for it.
exec 9>"$cache/control-plane.lock"
flock 9
if [ -x "$built/kube-apiserver" ]; then
    echo "$built"
    exit
fi

command -v go >/dev/null 2>&1 || fail \
    "there is no go to build Kubernetes' API server with, and no KUBEBUILDER_ASSETS with one that is built" \
    "(Debian, Ubuntu: apt install golang-go, in any version; ./dev control-plane does it)"
say "building Kubernetes' API server and its kin: once, some ten minutes, 700 MB of downloads, 5 GB of disk meanwhile"
work=$built.work
finish() {
    status=$?
    rm -rf "$work"
    [ "$status" = 0 ] || fail \
        "Kubernetes' programs could not be built. What it takes: a way to Go modules (GOPROXY), 5 GB below $cache," \
        "3 GB of memory (\"signal: killed\" says that there was less)."
}
rm -rf "$work"
mkdir -p "$work"
trap finish EXIT
trap 'exit 130' INT TERM

# Nothing of this stays but the programs.
export GOPATH="$work/go" GOCACHE="$work/build" GOMODCACHE="$work/modules" GOTMPDIR="$work" GOFLAGS=-modcacherw GOTOOLCHAIN=local
export CGO_ENABLED=0
if [ "$(go env GOVERSION)" != "go$go_version" ]; then
    # Go is a Go module too, which any Go fetches, and checks against the database of checksums.
    say "fetching Go $go_version"
    toolchain=golang.org/toolchain@v0.0.1-go$go_version.$(go env GOOS)-$(go env GOARCH)
    (cd / && go mod download "$toolchain")
    # Modules hold no programs: what are some must be made so.
    chmod -R +x "$GOMODCACHE/$toolchain/bin" "$GOMODCACHE/$toolchain/pkg/tool"
    PATH=$GOMODCACHE/$toolchain/bin:$PATH
    unset GOROOT
fi

# A compiler, and the linker, may take more than 2 GB.
jobs=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo) / 2000000))
[ "$jobs" -lt "$(nproc)" ] || jobs=$(nproc)
[ "$jobs" -gt 0 ] || jobs=1

kubernetes=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\)$/\1/p' go.mod)
version=k8s.io/component-base/version
minor=${kubernetes#v1.}
say "building Kubernetes $kubernetes with Go $go_version, $jobs at a time"
nice go build -p "$jobs" -mod=readonly -trimpath -buildvcs=false \
    -tags 'apiserver controllermanager etcd kubectl kubelet proxy scheduler' \
    -ldflags "-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}" \
    -o "$work/programs/controlplane" . >&2
for program in $programs; do
    ln -s controlplane "$work/programs/$program"
done
mv "$work/programs" "$built"
say "kept in $built"
echo "$built"
