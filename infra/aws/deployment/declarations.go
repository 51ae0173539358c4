package deployment

import (
	"fmt"
	"maps"
	"slices"

	"github.com/keyturn/keyturn/functions/compliance/checks"
)

// LoadDeclarations reads what a file declares for the compliance checks, under "compliance". alone is true for one with that section only,
// as a deployment on Google Cloud has it; any other must describe a deployment. Everything that is wrong is a [Problems].
func LoadDeclarations(file string) (declared checks.Declarations, alone bool, err error) {
	data, err := readFile(file)
	if err != nil {
		return checks.Declarations{}, false, err
	}
	var d Deployment
	r := &reader{}
	r.read(data, &d)
	if top := slices.Collect(maps.Keys(r.lines)); !slices.Contains(top, section) || slices.ContainsFunc(top, func(path string) bool { return !within(path, section) }) {
		d, err := Parse(data)
		if err != nil {
			return checks.Declarations{}, false, fmt.Errorf("%s has problems:\n%w", file, err)
		}
		d.Compliance.ClusterKeys = d.Keys()
		return d.Compliance, false, nil
	}
	v := &validation{}
	v.compliance(d.Compliance)
	r.locate(v.problems)
	if problems := slices.Concat(r.problems, v.problems.sorted(r.unread)).sorted(nil); len(problems) > 0 {
		return checks.Declarations{}, true, fmt.Errorf("%s has problems:\n%w", file, problems)
	}
	return d.Compliance, true, nil
}

// section is where declarations are.
const section = "compliance"
