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
