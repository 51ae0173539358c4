package installation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
)

// ofOne are the variables that belong to one installation: of several, each has its own.
var ofOne = []string{
	deploymentVariable, "KEYTURN_LEDGER", "KEYTURN_ARCHIVE", "KEYTURN_ALERTS_TOPIC", "KEYTURN_OPERATIONS_TOPIC", "KEYTURN_READER_ROLE", "KEYTURN_READER_EXTERNAL_ID",
}

// Each returns a program for each installation that is named, by --deployment or --ledger several times, or by KEYTURN_DEPLOYMENT with several
// names, with commas between. One ledger beside one deployment is that deployment's. If there are not several, it is the program itself.
func (p *Program) Each() (each []*Program) {
	deployments := p.deployments
	if len(deployments) == 0 && len(p.ledgers) == 0 {
		for name := range strings.SplitSeq(p.Lookup(deploymentVariable), ",") {
			if name = strings.TrimSpace(name); name != "" {
				deployments = append(deployments, name)
			}
		}
	}
	if len(deployments) < 2 && len(p.ledgers) < 2 {
		return []*Program{p}
	}
	one := func() *Program {
		of := *p
		of.deployments, of.ledgers, of.Found, of.FoundGoogle = nil, nil, nil, nil
		of.Environ = slices.DeleteFunc(slices.Clone(p.Environ), func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			return slices.Contains(ofOne, name)
		})
		each = append(each, &of)
		return &of
	}
	for _, name := range deployments {
		one().deployments = []string{name}
	}
	for _, l := range p.ledgers {
		of := one()
		of.ledgers, of.Environ, of.Dir = []string{l}, append(of.Environ, "KEYTURN_LEDGER="+l), ""
	}
	return each
}

// InstallationName is what people call the installation: the deployment that is named, or else the ledger.
func (p *Program) InstallationName() string {
	if len(p.deployments) > 0 {
		return p.deployments[0]
	}
	return p.Lookup("KEYTURN_LEDGER")
}

func errSeveral(n int) error {
	return &terminal.ConfigurationError{Problems: fmt.Errorf("%d installations are named, and this command works on one; only status and alerts show several", n)}
}
