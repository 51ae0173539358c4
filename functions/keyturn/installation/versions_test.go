package installation

import "testing"

func TestVersionsAreComparedOnlyIfBothAreKnown(t *testing.T) {
	for _, c := range []struct{ program, deployed, want string }{
		{"v1.2.3", "v1.2.3", SameVersion}, {"v1.2.3", "v1.2.4", DifferentVersion}, {"v1.2.3", "v1.2.3+dirty", DifferentVersion},
		{"(devel)", "(devel)", UnknownVersion}, {"(devel)", "v1.2.3", UnknownVersion}, {"v1.2.3", "unknown", UnknownVersion}, {"v1.2.3", "(devel)", UnknownVersion},
	} {
		if got := CompareVersions(c.program, c.deployed); got != c.want {
			t.Errorf("program %s and deployment %s are %s, want %s", c.program, c.deployed, got, c.want)
		}
	}
}
