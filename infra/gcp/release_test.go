package gcp_test

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/keyturn/keyturn/internal/version"
)

// Links of the module's alert policies and links of the functions' alerts lead to the same files, for every form of a version.
func TestRunbooks_areWhereTheFunctionsLinkTo(t *testing.T) {
	m := readModule(t, ".")
	for _, v := range []string{
		"v1.2.3", "v0.1.0", "v1.2.3-rc.1", "v1.2.3-rc-1", "v10.20.30",
		"v0.0.0-20261129081125-514cb2c4e747", "v1.2.4-0.20261129081125-514cb2c4e747", "v1.2.3-rc.1.0.20261129081125-514cb2c4e747",
		"v0.0.0-20261129081125-514cb2c4e747+dirty", "v1.2.3+dirty", "(devel)", "", "main", "1.2.3", "v1.2", "v1.2.3.4", "xv1.2.3",
		"v1.2.3-2026112908112-514cb2c4e747", "v1.2.3-20261129081125-514cb2c4e74", "v1.2.3-20261129081125-514cb2c4e7477", "v1.2.3/../../..",
	} {
		context := &hcl.EvalContext{
			Variables: map[string]cty.Value{
				"var": cty.ObjectVal(map[string]cty.Value{"release": cty.StringVal(v), "runbooks": cty.NullVal(cty.String)}),
			},
			Functions: map[string]function.Function{
				"can": tryfunc.CanFunc, "try": tryfunc.TryFunc, "regex": stdlib.RegexFunc, "coalesce": stdlib.CoalesceFunc,
			},
		}
		file, problems := m.locals["release_file"].Value(context)
		if problems.HasErrors() {
			t.Fatalf("version %q: %s", v, problems)
		}
		context.Variables["local"] = cty.ObjectVal(map[string]cty.Value{"release_file": file})
		runbooks, problems := m.locals["runbooks"].Value(context)
		if problems.HasErrors() {
			t.Fatalf("version %q: %s", v, problems)
		}
		if got, want := runbooks.AsString(), version.Source(v); got != want {
			t.Errorf("version %q: alert policies link to %s, alerts to %s", v, got, want)
		}
	}
}
