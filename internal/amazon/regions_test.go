package amazon_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/amazon"
)

// botocore's list is AWS' own, and comes with the AWS CLI and moto.
const listRegions = `
import botocore.session, json
s = botocore.session.get_session()
constraints = s.get_service_model("s3").shape_for("BucketLocationConstraint").enum
standard = s.get_available_regions("kms", partition_name="aws")
print(json.dumps({"constraints": constraints, "standard": standard}))`

func TestTheRegionsAreThoseOfBotocore(t *testing.T) {
	output, err := exec.Command("python3", "-c", listRegions).Output()
	if err != nil {
		if os.Getenv("KEYTURN_E2E") == "1" {
			t.Fatalf("list the Regions of botocore (pip install 'moto[server]'): %v", err)
		}
		t.Skipf("needs botocore (pip install 'moto[server]'): %v", err)
	}
	var botocore struct{ Constraints, Standard []string }
	if err := json.Unmarshal(output, &botocore); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, region := range append(botocore.Constraints, "us-east-1") {
		if amazon.IsRegion(region) {
			want = append(want, region)
		}
	}
	slices.Sort(want)
	if got := amazon.Regions(); !slices.Equal(got, want) {
		t.Errorf("the Regions are\n%v\nbotocore has\n%v", got, want)
	}
	for _, region := range botocore.Standard {
		if !amazon.IsRegion(region) {
			t.Errorf("%s, in which KMS is, has not the form of a Region", region)
		}
	}
}
