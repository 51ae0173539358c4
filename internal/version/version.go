// Package version says what a program was built from.
package version

import (
	"cmp"
	"runtime"
	"runtime/debug"
)

// stamp is the version of a program that is built without what Go records of a checkout, set with
// -ldflags "-X github.com/keyturn/keyturn/internal/version.stamp=VERSION".
var stamp string

// Unknown is the version of a program that was built outside of a checkout, and without a stamp.
const Unknown = "(devel)"

// Version is what a program was built from.
type Version struct {
	// Version is a tag, or made by Go of the last tag, the commit's time and the commit (go.dev/ref/mod#pseudo-versions), with "+dirty"
	// if the checkout held changes; or [Unknown].
	Version string `json:"version"`
	// Commit is "" if the program was not built in a checkout; Modified reports that it held changes.
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// String is the version for people, on one line.
func (v Version) String() string {
	line := "keyturn " + v.Version
	if v.Commit != "" {
		line += " (" + v.Commit
		if v.Modified {
			line += ", modified"
		}
		line += ")"
	}
	return line + ", " + v.Go + " " + v.Platform
}

// Read returns the version of the running program. "go build" in a checkout and "go install MODULE@VERSION" give the same one for the same
// commit.
func Read() Version {
	v := Version{Version: cmp.Or(stamp, Unknown), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = cmp.Or(stamp, info.Main.Version, Unknown)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
