package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
)

// terraformState is a folder's state, of which only the CMEK resources matter.
type terraformState struct {
	dir string
	// cmek are the addresses of the resources of type cockroach_cmek, by the id of their cluster.
	cmek map[string][]string
}

// terraformModule is a module of "terraform show -json" (developer.hashicorp.com/terraform/internals/json-format, state representation).
type terraformModule struct {
	Resources []struct {
		Address string `json:"address"`
		Mode    string `json:"mode"`
		Type    string `json:"type"`
		Values  struct {
			ID string `json:"id"`
		} `json:"values"`
	} `json:"resources"`
	ChildModules []terraformModule `json:"child_modules"`
}

// readTerraform reads the folder's state with the Terraform that is installed.
func readTerraform(ctx context.Context, dir string) (terraformState, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "terraform", "-chdir="+dir, "show", "-json").Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = errors.New(terminal.OneLine(errors.New(strings.TrimSpace(string(failed.Stderr)))))
	}
	if err != nil {
		return terraformState{}, fmt.Errorf("terraform -chdir=%s show -json: %w", dir, err)
	}
	return parseTerraform(dir, out)
}

func parseTerraform(dir string, out []byte) (terraformState, error) {
	var shown struct {
		Version string `json:"format_version"`
		Values  *struct {
			Root terraformModule `json:"root_module"`
		} `json:"values"`
	}
	if err := json.Unmarshal(out, &shown); err != nil || shown.Version == "" {
		return terraformState{}, fmt.Errorf("terraform -chdir=%s show -json printed no state that keyturn understands", dir)
	}
	if shown.Values == nil {
		return terraformState{}, fmt.Errorf("terraform -chdir=%s show -json: the folder has no state; is it the one of the clusters, with the right workspace?", dir)
	}
	s := terraformState{dir: dir, cmek: map[string][]string{}}
	s.add(shown.Values.Root)
	return s, nil
}

func (s terraformState) add(m terraformModule) {
	for _, r := range m.Resources {
		if r.Mode == "managed" && r.Type == "cockroach_cmek" && r.Values.ID != "" {
			s.cmek[r.Values.ID] = append(s.cmek[r.Values.ID], r.Address)
		}
	}
	for _, child := range m.ChildModules {
		s.add(child)
	}
}

// answer says how the cluster's configuration is dealt with, for its orders.
func (s terraformState) answer(clusterID string) string {
	if addresses := s.cmek[clusterID]; len(addresses) > 0 {
		return rotation.ManagedAs + strings.Join(addresses, ", ")
	}
	return "not managed in " + s.dir
}

// printWriteBack prints the steps that write the cluster's new keys back, for each address.
func (s terraformState) printWriteBack(out io.Writer, name, clusterID string, moves []string) {
	for _, address := range s.cmek[clusterID] {
		commands := rotation.WriteBack(address, clusterID, s.dir)
		terminal.Tell(out, `Terraform manages the CMEK of %[1]s as %[2]s. Until you have done this, in this order, apply nothing there: an edit
of the resource would PUT the old key back, and the plan does not show it.
  1. In the configuration of %[2]s change
%[3]s
  2. %[4]s
  3. %[5]s
  4. %[6]s      (must show no changes)
`, terminal.Printable(name), terminal.Printable(address), strings.Join(moves, "\n"), terminal.Printable(commands[0]), terminal.Printable(commands[1]), terminal.Printable(commands[2]))
	}
}
