package lifecycle

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// What a file says of keys is taken in one way or not at all: what is misspelled, named twice or left over is an error that names it.
func TestParseSpecs(t *testing.T) {
	const one = `{"region":"us-east-1","key_spec":{"type":"AWS_KMS","uri":"K","auth_principal":"R"}}`
	for _, tt := range []struct{ name, file, wrong string }{
		{"the vendor's object", `{"region_specs":[` + one + `]}`, ""},
		{"the list alone", `[` + one + `]`, ""},
		{"either within spec", `{"spec":{"region_specs":[` + one + `]}}`, ""},
		{"", `{"spec":[` + one + `]}`, ""},
		{"as Windows saves it", "\xef\xbb\xbf\r\n[" + one + "]\r\n", ""},
		{"nothing", " ", "empty"},
		{"no region", `{"region_specs":[]}`, "there are none"},
		{"null", `null`, "there are none"},
		{"another document", `{"clusters":[]}`, "clusters"},
		{"a spec and its content", `{"spec":{"region_specs":[` + one + `]},"region_specs":[` + one + `]}`, "spec"},
		{"a trailing comma", `[` + one + `,]`, "invalid character"},
		{"cut off", `[` + one, "EOF"},
		{"two documents", `[` + one + `][` + one + `]`, "follows"},
		{"something after it", `[` + one + `] x`, "follows"},
		{"a misspelled principal", strings.Replace(`[`+one+`]`, "auth_principal", "auth_principle", 1), "auth_principle"},
		{"a field of tomorrow", strings.Replace(`[`+one+`]`, `"type"`, `"hsm":true,"type"`, 1), "hsm"},
		{"a key twice", strings.Replace(`[`+one+`]`, `"uri":"K"`, `"uri":"J","uri":"K"`, 1), `"uri" twice`},
		{"a key twice, once in capitals", strings.Replace(`[`+one+`]`, `"uri":"K"`, `"uri":"J","URI":"K"`, 1), `"URI" twice`},
		{"the list twice", `{"region_specs":[` + one + `],"region_specs":[{"region":"us-east-1","key_spec":{"uri":"J"}}]}`, `"region_specs" twice`},
		{"a name as a value is no second name", strings.Replace(`[`+one+`]`, `"K"`, `"type"`, 1), ""},
	} {
		specs, err := ParseSpecs([]byte(tt.file))
		switch {
		case tt.wrong == "" && (err != nil || len(specs) != 1 || specs[0].KeySpec.Type != cmek.AWSKMS || specs[0].KeySpec.AuthPrincipal != "R"):
			t.Errorf("%s: %+v, %v", tt.name, specs, err)
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%s: %+v, %v; want an error that says %q", tt.name, specs, err, tt.wrong)
		}
	}
}

// The page's file has more than regions and keys, which is not sent; what it says of them is taken in one way.
func TestParseAdditions(t *testing.T) {
	has := []cmek.Region{{Name: east, NodeCount: 3}}
	const file = `{"dedicated":{"region_nodes":{"us-west-2":3},"cmek_region_specs":[{"region":"us-west-2","key_spec":{"type":"AWS_KMS","uri":"K","auth_principal":"R"}}],"hardware":{"machine_type":"m"}}}`
	for _, tt := range []struct{ name, from, to, wrong string }{
		{"the page's", "", "", ""},
		{"with the regions that it has", `{"us-west-2":3}`, `{"us-east-1":3,"us-west-2":3}`, ""},
		{"which it resizes", `{"us-west-2":3}`, `{"us-east-1":5,"us-west-2":3}`, "resizes nothing"},
		{"a region without a key", `{"us-west-2":3}`, `{"us-west-1":3,"us-west-2":3}`, "us-west-1 has no key"},
		{"nodes twice", `{"us-west-2":3}`, `{"us-west-2":3,"us-west-2":30}`, `"us-west-2" twice`},
		{"a key twice", `"uri":"K"`, `"uri":"J","uri":"K"`, `"uri" twice`},
		{"half a node", `{"us-west-2":3}`, `{"us-west-2":3.5}`, "3.5"},
		{"something after it", `}}}`, `}}} {}`, "follows"},
	} {
		additions, err := ParseAdditions([]byte(strings.Replace(file, tt.from, tt.to, 1)), has)
		switch {
		case tt.wrong == "" && (err != nil || len(additions) != 1 || additions[0].Nodes != 3):
			t.Errorf("%s: %+v, %v", tt.name, additions, err)
		case tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%s: %+v, %v; want an error that says %q", tt.name, additions, err, tt.wrong)
		}
	}
}
