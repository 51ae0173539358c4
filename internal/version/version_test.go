package version_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/version"
)

func TestAVersionIsOneLineForPeople(t *testing.T) {
	for _, c := range []struct {
		v    version.Version
		want string
	}{
		{version.Version{Version: "v1.2.3", Go: "go1.26", Platform: "linux/arm64"}, "keyturn v1.2.3, go1.26 linux/arm64"},
		{version.Version{Version: "v1.2.3", Commit: "abc", Go: "go1.26", Platform: "linux/arm64"}, "keyturn v1.2.3 (abc), go1.26 linux/arm64"},
		{version.Version{Version: "v1.2.3+dirty", Commit: "abc", Modified: true, Go: "go1.26", Platform: "linux/arm64"}, "keyturn v1.2.3+dirty (abc, modified), go1.26 linux/arm64"},
	} {
		if got := c.v.String(); got != c.want {
			t.Errorf("%+v is %q, want %q", c.v, got, c.want)
		}
	}
	if v := version.Read(); v.Version == "" || v.Go == "" || v.Platform == "" {
		t.Errorf("this program's version is %+v, want every field but the commit", v)
	}
}

func TestTheSourceOfAVersionIsItsTagOrCommit(t *testing.T) {
	for v, ref := range map[string]string{
		"v1.2.3": "v1.2.3", "v1.2.3-rc.1": "v1.2.3-rc.1",
		"v0.0.0-20261128175533-93518b5a1b2c": "93518b5a1b2c", "v1.2.4-0.20261128175533-93518b5a1b2c": "93518b5a1b2c", "v1.2.3-rc.1.0.20261128175533-93518b5a1b2c": "93518b5a1b2c",
		// What was deployed is in no commit, or not known.
		"v0.0.0-20261128175533-93518b5a1b2c+dirty": "main", "v1.2.3+dirty": "main", version.Unknown: "main", "unknown": "main", "": "main",
		"v1": "main", "1.2.3": "main", "v1.2.3/../../other": "main", "93518b5a1b2c": "main",
	} {
		if got, want := version.Source(v), "https://github.com/keyturn/keyturn/blob/"+ref+"/"; got != want {
			t.Errorf("the source of %q is below %s, want %s", v, got, want)
		}
	}
}
