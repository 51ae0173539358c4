package simulator

import (
	"regexp"
	"slices"
	"strings"
)

// regions are those of each cloud, by its name in the Cloud API (docs.aws.amazon.com/general/latest/gr/rande.html and
// cloud.google.com/about/locations, without the partitions of governments and of China). Azure's are recognized by their form.
var regions = map[string][]string{
	"AWS": strings.Fields(`af-south-1 ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1
		ap-southeast-2 ap-southeast-3 ap-southeast-4 ca-central-1 ca-west-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2
		eu-west-1 eu-west-2 eu-west-3 il-central-1 me-central-1 me-south-1 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2`),
	"GCP": strings.Fields(`africa-south1 asia-east1 asia-east2 asia-northeast1 asia-northeast2 asia-northeast3 asia-south1 asia-south2
		asia-southeast1 asia-southeast2 australia-southeast1 australia-southeast2 europe-central2 europe-north1 europe-southwest1
		europe-west1 europe-west2 europe-west3 europe-west4 europe-west6 europe-west8 europe-west9 europe-west10 europe-west12
		me-central1 me-central2 me-west1 northamerica-northeast1 northamerica-northeast2 southamerica-east1 southamerica-west1
		us-central1 us-east1 us-east4 us-east5 us-south1 us-west1 us-west2 us-west3 us-west4`),
}

var azureRegion = regexp.MustCompile(`^[a-z]+[0-9]?$`)

func knownRegion(provider, name string) bool {
	if provider == "AZURE" {
		return azureRegion.MatchString(name)
	}
	return slices.Contains(regions[provider], name)
}

// machineTypes are the forms of the machine types of each cloud.
var machineTypes = map[string]*regexp.Regexp{
	"AWS":   regexp.MustCompile(`^[a-z][0-9][a-z]*\.([0-9]*x)?large$`),
	"GCP":   regexp.MustCompile(`^[a-z][0-9][a-z]?-[a-z]+-[0-9]+$`),
	"AZURE": regexp.MustCompile(`^Standard_[A-Za-z0-9_]+$`),
}

// checkMachineType refuses a machine type of another cloud; "" is none asked for.
func (w *World) checkMachineType(provider, name string) *cloudError {
	if name == "" || w.is(MachineType, "accept") || machineTypes[provider].MatchString(name) {
		return nil
	}
	return badRequest("machine type '%s' is not available on %s", name, provider)
}
