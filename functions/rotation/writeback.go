package rotation

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
)

// After a cluster was moved to another key the Terraform provider's plan shows no change, and its next edit of the resource silently PUTs
// the old key back (observed with provider 1.22 and Terraform 1.11). So the new key is written back by hand, in an order that sends nothing.

// ManagedAs begins the answer about Terraform, in an order or a pin, of a cluster that it manages. The addresses of its CMEK resources follow.
const ManagedAs = "managed as "

// Addresses are those of the CMEK resources that the answer about Terraform names.
func Addresses(terraform string) (addresses []string) {
	list, is := strings.CutPrefix(terraform, ManagedAs)
	if !is {
		return nil
	}
	for _, part := range strings.Split(list, ", ") {
		// An address may hold a comma in its key: resource["a, b"].
		if n := len(addresses); n > 0 && strings.Count(addresses[n-1], `"`)%2 == 1 {
			addresses[n-1] += ", " + part
			continue
		}
		addresses = append(addresses, part)
	}
	return addresses
}

// WriteBack are the commands that take a changed configuration over into the state without sending anything: the resource is forgotten
// and read again. dir is the folder of the configuration, "" for the one that they are run in.
func WriteBack(address, clusterID, dir string) []string {
	program := "terraform"
	if dir != "" {
		program += " -chdir=" + alert.ShellWord(dir)
	}
	address = alert.ShellWord(address)
	return []string{program + " state rm " + address, program + " import " + address + " " + alert.ShellWord(clusterID), program + " plan"}
}

// writeBack are the steps that write the region's new key back to Terraform's configuration; none if its order says that none manages it.
func writeBack(clusterID string, w ledger.Work, terraform string) (steps []string) {
	for _, address := range Addresses(terraform) {
		steps = append(steps, fmt.Sprintf("Terraform manages the CMEK as %s. Apply nothing there until this is done in its folder, in this order: an edit of the resource "+
			"would PUT the old key back, and the plan does not show it. Change the key of %s in the configuration from %s to %s, then:", address, w.Region, w.From.URI, w.Key))
		steps = append(steps, WriteBack(address, clusterID, "")...)
		steps = append(steps, "The plan must show no changes.")
	}
	return steps
}

// orderOf is the order of the work, as it stands with the operators' items; of one that follows from a pin, what the pin says of it.
func (f Facts) orderOf(w ledger.Work) ledger.Order {
	if pin, pinned := f.pinOf(w.Region); pinned && w.Trigger.Kind == fromPin && string(pin.Alias) == w.Trigger.Source {
		return ledger.Order{ID: w.Order, Region: w.Region, By: pin.By, Reason: pin.Reason, Terraform: pin.Terraform, Alias: pin.Alias}
	}
	for _, o := range f.Orders {
		if o.ID == w.Order {
			return o
		}
	}
	return ledger.Order{ID: w.Order, Region: w.Region}
}
