package simulator_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/internal/simulator"
)

const tenMinutes = 10 * time.Minute

// near reports whether two times are within a second of each other.
func near(a, b time.Time) bool { return a.Sub(b).Abs() < time.Second }

func TestTheClockOffsetShiftsWhatIsWritten(t *testing.T) {
	for _, offset := range []time.Duration{tenMinutes, -tenMinutes, 90 * time.Second} {
		bubble(t, func(t *testing.T) {
			world := newWorld(t)
			old := getCMEK(t, world, payments).RegionInfos[0].KeyInfos[0]
			done(t, world.SetClockOffset(offset))
			if got := getCMEK(t, world, payments).RegionInfos[0].KeyInfos[0]; got != old {
				t.Errorf("%v: what was written before changed from %+v to %+v", offset, old, got)
			}
			shifted := time.Now().Add(offset)

			put(t, world, payments, paymentsSpec).want(t, 200, "ROTATING")
			if got := getCMEK(t, world, payments).RegionInfos[0].KeyInfos[0].UpdatedAt; !near(got, shifted) {
				t.Errorf("%v: updated_at is %v, want %v", offset, got, shifted)
			}
			if got := getCluster(t, world, payments).UpdatedAt; !near(got, shifted) {
				t.Errorf("%v: the cluster's updated_at is %v, want %v", offset, got, shifted)
			}
			done(t, world.Rotate(paymentsKey))
			rotations, err := inProcess(world, "us-east-1").ListKeyRotations(t.Context(), &kms.ListKeyRotationsInput{KeyId: aws.String(paymentsKey)})
			if n := len(rotations.Rotations); err != nil || n == 0 || !near(*rotations.Rotations[n-1].RotationDate, shifted) {
				t.Errorf("%v: the rotations are %+v (error %v), want the last at %v", offset, rotations, err, shifted)
			}
			var envelope struct{ Time time.Time }
			for _, e := range world.Events() {
				if err := json.Unmarshal(e.Payload, &envelope); err != nil || !near(envelope.Time, shifted) || !near(e.Time, time.Now()) {
					t.Errorf("%v: an event is of %v, recorded at %v (error %v)", offset, envelope.Time, e.Time, err)
				}
			}
			call(t, world, "GET", "/auditlogevents", "", "Authorization", "Bearer "+adminAPIKey).
				want(t, 200, `"created_at":"`+shifted.UTC().Format("2006-01-02T15:04:05"))
			// What the world records for its observer is by the observer's clock.
			if p := world.PUTs()[0]; !near(p.Time, time.Now()) {
				t.Errorf("%v: the PUT is recorded at %v", offset, p.Time)
			}
			time.Sleep(time.Minute)
			for _, key := range world.StoreKeys() {
				if key.ClusterID == payments && !near(key.WrappedAt, time.Now().Add(-time.Minute)) {
					t.Errorf("%v: the store key is recorded as wrapped at %v", offset, key.WrappedAt)
				}
			}
		})
	}
}

func TestTheClockOffsetDelaysNothing(t *testing.T) {
	for _, offset := range []string{"10m", "-10m"} {
		bubble(t, func(t *testing.T) {
			world := newWorld(t, simulator.RotationDuration, "90s", simulator.StatusFlip, "after")
			put(t, world, payments, paymentsSpec).want(t, 200, "ENABLED")
			time.Sleep(time.Second)
			set(t, world, simulator.ClockOffset, offset)
			call(t, world, "GET", "/clusters/"+payments+"/cmek", "").want(t, 200, `"status":"ENABLED"`)
			time.Sleep(3 * time.Second)
			call(t, world, "GET", "/clusters/"+payments+"/cmek", "").want(t, 200, `"status":"ROTATING"`)
			time.Sleep(85 * time.Second)
			call(t, world, "GET", "/clusters/"+payments+"/cmek", "").want(t, 200, `"status":"ROTATING"`)
			time.Sleep(2 * time.Second)
			call(t, world, "GET", "/clusters/"+payments+"/cmek", "").want(t, 200, `"status":"ENABLED"`)
			set(t, world, simulator.ClockOffset, "0s")
			for range 8 {
				call(t, world, "GET", "/organization", "").want(t, 200, "")
			}
		})
	}
}

func TestASeedMaySetTheClockOffset(t *testing.T) {
	seed := simulator.DefaultSeed()
	seed.Switches = map[string]string{simulator.ClockOffset: "-7m"}
	world, err := simulator.New(seed)
	done(t, err)
	plain := newWorld(t)
	a, b := getCluster(t, world, payments).CreatedAt, getCluster(t, plain, payments).CreatedAt
	if !near(a.Add(7*time.Minute), b) {
		t.Errorf("created_at is %v, want 7 min before %v", a, b)
	}
	for _, wrong := range []time.Duration{tenMinutes + time.Second, -time.Hour} {
		if world.SetClockOffset(wrong) == nil {
			t.Errorf("an offset of %v was set", wrong)
		}
	}
}
