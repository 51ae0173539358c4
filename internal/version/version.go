// Package version says what a program was built from.
package version

import (
	"cmp"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
)

// repository is where the source of every version is shown.
const repository = "https://github.com/keyturn/keyturn"

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

// URL is where a file of the running program's version is shown, by its path in the repository, with an anchor or not. What is
// an address already stays as it is.
func URL(path string) string {
	if strings.Contains(path, "://") {
		return path
	}
	return Source(Read().Version) + path
}

// A release's version is its tag; that of another commit ends with the first 12 digits of its name (go.dev/ref/mod#pseudo-versions).
var (
	release = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)
	commit  = regexp.MustCompile(`[-.]\d{14}-([0-9a-f]{12})$`)
)

// Source is the URL below which the files of a version are shown: those of its tag or commit. A version that is neither, and one with
// changes that were never committed, has those of the newest commit.
func Source(version string) string {
	ref := "main"
	if release.MatchString(version) {
		ref = version
		if end := commit.FindStringSubmatch(version); end != nil {
			ref = end[1]
		}
	}
	return repository + "/blob/" + ref + "/"
}
