// Package installation finds and opens what a command works on: the settings from flags, the environment and the deployment that is named;
// the ledger, archive and clients that they name; and clusters and keys of the ledger by what people call them.
package installation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/hub"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	googlehub "github.com/keyturn/keyturn/internal/google/hub"
	"github.com/keyturn/keyturn/internal/version"
)

// deploymentVariable names the deployment that a command works on.
const deploymentVariable = "KEYTURN_DEPLOYMENT"

// DeploymentFile describes a deployment.
const DeploymentFile = "keyturn.yaml"

// Program is one run of the command line on an installation: the flags and variables that name it, and what was found.
type Program struct {
	terminal.Terminal
	// Flagged holds the flags that set variables, by the names of those.
	Flagged map[string]string
	// Dir is the working directory, from which keyturn.yaml is searched for; "" for no search.
	Dir string
	// deployments and ledgers are what --deployment and --ledger name, in their order.
	deployments, ledgers []string
	// Found is what the deployment publishes, once it was found, and FoundBy what named it. FoundGoogle is what one on Google Cloud publishes
	// beside that, nil for one on AWS.
	Found       *deployment.Published
	FoundGoogle *googlehub.Published
	FoundBy     string
}

// namedDeployment is a deployment as somebody named it.
type namedDeployment struct {
	// name is "" if nobody named one.
	name string
	// by is the flag, the variable or the file that names it.
	by string
	// hub is where it is; a Region that is not known is that of the AWS profile.
	hub deployment.Place
	// server is the Cloud API of its keyturn.yaml; "" if that is not in reach, or names none.
	server string
}

// NamesDeployment reports whether a flag or the environment names a deployment.
func (p *Program) NamesDeployment() bool {
	return len(p.deployments) > 0 || p.Lookup(deploymentVariable) != ""
}

// DeploymentName is the deployment that a flag, the environment or a keyturn.yaml in reach names, and the Google Cloud project before its
// name, if there is one. Both are "" if none is named, or it cannot be told which.
func (p *Program) DeploymentName() (project, name string) {
	n, err := p.nameDeployment()
	if err != nil {
		return "", ""
	}
	if project, name, google := strings.Cut(n.name, "/"); google {
		return project, name
	}
	return "", n.name
}

// nameDeployment says which deployment a flag, the environment, or else a keyturn.yaml in reach names.
func (p *Program) nameDeployment() (namedDeployment, error) {
	n := namedDeployment{name: p.Lookup(deploymentVariable), by: deploymentVariable}
	if len(p.deployments) > 0 {
		n = namedDeployment{name: p.deployments[0], by: "--deployment"}
	}
	if several := p.Each(); len(several) > 1 {
		return n, errSeveral(len(several))
	}
	file := p.FileInReach()
	if file == "" {
		return n, nil
	}
	d, err := deployment.Load(file)
	var problems deployment.Problems
	switch {
	case n.name == "" && errors.As(err, &problems):
		return namedDeployment{}, &terminal.ConfigurationError{Problems: fmt.Errorf(
			"%s, which names the deployment, has %s; see %q", file, terminal.Count(len(problems), "problem"), "keyturn config check "+file)}
	case n.name == "" && err != nil:
		return namedDeployment{}, err
	case n.name == "":
		n = namedDeployment{name: d.Name, by: file}
	}
	if err == nil && n.name == d.Name {
		n.hub, n.server = d.Hub, d.CockroachDB.Server
	}
	return n, nil
}

// FileInReach is the keyturn.yaml of the working directory or the nearest one above it, within the same repository; "" if there is none.
func (p *Program) FileInReach() string {
	for dir := p.Dir; dir != ""; {
		file := filepath.Join(dir, DeploymentFile)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
			return file
		}
		above := filepath.Dir(dir)
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil || above == dir {
			return ""
		}
		dir = above
	}
	return ""
}

// UseDeployment adds what the deployment publishes to the environment, before what is given otherwise. A keyturn.yaml in reach counts only
// where no ledger is named and the Cloud API is no simulator: those are another installation.
func (p *Program) UseDeployment(ctx context.Context) error {
	if p.Found != nil {
		return nil
	}
	server := p.Lookup(cockroachcloud.EnvServer)
	if !p.NamesDeployment() && (p.Lookup("KEYTURN_LEDGER") != "" || cockroachcloud.IsLoopback(server)) {
		return nil
	}
	named, err := p.FindDeployment(ctx)
	if err != nil || p.Found == nil {
		return err
	}
	server = cmp.Or(server, named)
	published := cmp.Or(p.Found.Server, cockroachcloud.DefaultServer)
	switch {
	case strings.TrimRight(cmp.Or(server, cockroachcloud.DefaultServer), "/") == strings.TrimRight(published, "/"):
	case server == "":
		return &terminal.ConfigurationError{Problems: fmt.Errorf("the deployment %s follows the fleet at %s; set COCKROACH_SERVER (or --server) to that if it is right: "+
			"the API key is sent to no server that only the parameter names", p.Found.Name, published)}
	default:
		// The ledger of one fleet must never be driven by the answers of another.
		return &terminal.ConfigurationError{Problems: fmt.Errorf("the deployment %s follows the fleet at %s, and COCKROACH_SERVER (or --server) is %s; leave it out, "+
			"or name the ledger that goes with it instead of the deployment", p.Found.Name, published, server)}
	}
	var pairs []string
	for name, value := range p.Found.Variables() {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	if named != "" {
		pairs = append(pairs, cockroachcloud.EnvServer+"="+named)
	}
	p.Environ = append(pairs, p.Environ...) // what is given later counts
	return nil
}

// FindDeployment reads what the named deployment publishes. If none is named, nothing is found and there is no error. The server is the Cloud API
// that the keyturn.yaml in reach names for it, or "".
func (p *Program) FindDeployment(ctx context.Context) (server string, err error) {
	n, err := p.nameDeployment()
	if err != nil || n.name == "" {
		return n.server, err
	}
	if project, name, ok := googlehub.ParseName(n.name); ok {
		return n.server, p.findOnGoogle(ctx, project, name, n.by)
	}
	if strings.Contains(n.name, "/") {
		return n.server, &terminal.ConfigurationError{Problems: fmt.Errorf("%.100q (named by %s) is no deployment; want NAME, or on Google Cloud PROJECT/NAME: "+
			"the id of keyturn's project, and the module's name of 4 to 12 lower-case letters, digits and hyphens", n.name, n.by)}
	}
	aws, err := LoadAWS(ctx, n.hub.Region)
	if err != nil {
		return n.server, err
	}
	if aws.Region == "" {
		return n.server, &terminal.ConfigurationError{Problems: fmt.Errorf("AWS_REGION is not set; want the Region of the deployment %s (or run this where its keyturn.yaml is in reach)", n.name)}
	}
	parameter := deployment.ParameterName(n.name)
	text, err := hub.ReadParameter(ctx, aws, parameter)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		return n.server, &terminal.ConfigurationError{Problems: fmt.Errorf("there is no deployment %s (named by %s) in %s: parameter %s is not found; check the name, "+
			"that this is the hub's Region (AWS_REGION), and that the credentials are those of the hub's account", n.name, n.by, aws.Region, parameter)}
	case errors.Is(err, cmek.ErrDenied):
		return n.server, fmt.Errorf("find deployment %s in %s: %w; attach the policy %[1]s-%[4]s or %[1]s-%[5]s, which the hub's stack makes, to your role",
			n.name, aws.Region, err, deployment.ViewerPolicy, deployment.OperatorPolicy)
	case err != nil:
		return n.server, fmt.Errorf("find deployment %s in %s: %w", n.name, aws.Region, err)
	}
	found, err := deployment.ParsePublished(n.name, text)
	if err != nil {
		return n.server, fmt.Errorf("read parameter %s in %s: %w", parameter, aws.Region, err)
	}
	p.Found, p.FoundBy = &found, n.by
	return n.server, nil
}

// findOnGoogle reads what a deployment on Google Cloud publishes. To other commands it is one like those on AWS, whose account is its project.
func (p *Program) findOnGoogle(ctx context.Context, project, name, by string) error {
	c, err := p.LoadGoogle()
	if err != nil {
		return err
	}
	found, err := googlehub.Read(ctx, c, project, name)
	switch {
	case errors.Is(err, cmek.ErrNotFound), errors.Is(err, cmek.ErrDenied):
		return fmt.Errorf("find deployment %s/%s (named by %s): %w; check project and name, sign in (gcloud auth application-default login), "+
			"and ask for a place among the module's operators or viewers, or auditors for report", project, name, by, err)
	case err != nil:
		return fmt.Errorf("find deployment %s/%s (named by %s): %w", project, name, by, err)
	}
	p.FoundGoogle, p.FoundBy = &found, by
	p.Found = &deployment.Published{
		Format: deployment.PublishedFormat, Version: found.Version, Name: found.Name, Account: found.Project, Region: found.Region, Mode: found.Mode,
		OrganizationID: found.OrganizationID, Server: found.Server, Ledger: found.Ledger, Archive: found.Archive,
		AlertsTopic: found.AlertsTopic, OperationsTopic: found.OperationsTopic, APIKeySecret: found.APIKeySecret, Settings: found.Settings,
	}
	return nil
}

// LoadAWS loads the SDK's shared profiles, for a Region if it is given.
func LoadAWS(ctx context.Context, region string) (amazon.Config, error) {
	// The SDK's own client, because it honors AWS_CA_BUNDLE.
	client := awshttp.NewBuildableClient().WithTimeout(10 * time.Second)
	options := []func(*awsconfig.LoadOptions) error{awsconfig.WithHTTPClient(client), awsconfig.WithRetryMaxAttempts(4)}
	if region != "" {
		options = append(options, awsconfig.WithRegion(region))
	}
	aws, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws, &terminal.ConfigurationError{Problems: fmt.Errorf("read AWS profile: %w", err)}
	}
	within, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := aws.Credentials.Retrieve(within); err != nil {
		return aws, &terminal.ConfigurationError{Problems: errors.New("AWS gives no credentials; " +
			"set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (\"aws sts get-caller-identity\" checks them)")}
	}
	return aws, nil
}

// CompareVersions compares what two programs were made from. Without a version each could be any.
func CompareVersions(program, deployed string) string {
	switch {
	case program == version.Unknown || deployed == version.Unknown || deployed == deployment.UnknownVersion:
		return UnknownVersion
	case program == deployed:
		return SameVersion
	}
	return DifferentVersion
}

// What CompareVersions says.
const (
	SameVersion      = "same"
	DifferentVersion = "different"
	UnknownVersion   = "unknown"
)
