package cmek

import (
	"slices"
	"strings"
	"testing"
)

func TestExpandNames(t *testing.T) {
	for list, want := range map[string]string{
		"":                             "",
		" , ":                          "",
		"a":                            "a",
		"a, b":                         "a b",
		"x-{a,b}":                      "x-a x-b",
		"x-{a,b-{c,d}},y":              "x-a x-b-c x-b-d y",
		"{a,b}{,-2}":                   "a a-2 b b-2",
		"arn:aws:iam::1:role/{r,s}/t":  "arn:aws:iam::1:role/r/t arn:aws:iam::1:role/s/t",
		"x-{a,b":                       "x-a x-b",
		"x}-a":                         "x}-a",
		"k-{e,n-{s,p}}-{err,old},k,k2": "k-e-err k-e-old k-n-s-err k-n-s-old k-n-p-err k-n-p-old k k2",
	} {
		if got := ExpandNames(list); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("ExpandNames(%q) = %q, want %q", list, got, strings.Fields(want))
		}
	}
}
