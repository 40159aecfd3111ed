// KEDA's own client of external scalers, as its operator has it for a trigger of the type external-push: it asks for the metric,
// hears the stream, and asks again and again whether a pool is active. Every change is a line. It ends when the pool was active and
// is no longer, and fails if the answers do not agree with each other.
//
//	keda HOST:PORT CERTIFICATES KEY=VALUE...      CERTIFICATES: a folder with ca.pem, client.pem and client-key.pem
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kedacore/keda/v2/pkg/scalers/externalscaler"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "keda:", err)
		os.Exit(1)
	}
}

// What KEDA makes of a trigger's caCert, tlsClientCert and tlsClientKey.
func certificates(folder string) (*tls.Config, error) {
	authority, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "client.pem"), filepath.Join(folder, "client-key.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

// Without a certificate nobody is told anything.
func refused(ctx context.Context, address string, config *tls.Config, pool *externalscaler.ScaledObjectRef) error {
	nobody := config.Clone()
	nobody.Certificates = nil
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(nobody)))
	if err != nil {
		return err
	}
	defer connection.Close()
	_, err = externalscaler.NewExternalScalerClient(connection).IsActive(ctx, pool)
	if status.Code(err) != codes.Unauthenticated {
		return fmt.Errorf("without a certificate: %v", err)
	}
	return nil
}

func run(address, folder string, metadata []string) error {
	// How long a run may take; nothing else is decided by a time.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	config, err := certificates(folder)
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := externalscaler.NewExternalScalerClient(connection)
	pool := &externalscaler.ScaledObjectRef{
		Name: "orch-gpu", Namespace: "orch", ScalerMetadata: map[string]string{"scalerAddress": address},
	}
	for _, pair := range metadata {
		key, value, _ := strings.Cut(pair, "=")
		pool.ScalerMetadata[key] = value
	}
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("%6.2f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}

	if err := refused(ctx, address, config, pool); err != nil {
		return err
	}
	say("refused without a certificate")
	spec, err := client.GetMetricSpec(ctx, pool)
	if err != nil {
		return err
	}
	metric := spec.MetricSpecs[0]
	say("GetMetricSpec    %s, target %g", metric.MetricName, metric.TargetSizeFloat)
	stream, err := client.StreamIsActive(ctx, pool)
	if err != nil {
		return err
	}
	pushed := make(chan bool, 16)
	go func() {
		defer close(pushed)
		for {
			told, err := stream.Recv()
			if err != nil {
				return
			}
			pushed <- told.Result
		}
	}()

	var polled, heard []bool
	highest, last := 0.0, -1.0
	for {
		active, err := client.IsActive(ctx, pool)
		if err != nil {
			return err
		}
		if len(polled) == 0 || polled[len(polled)-1] != active.Result {
			polled = append(polled, active.Result)
			say("IsActive         %t", active.Result)
		}
		metrics, err := client.GetMetrics(ctx, &externalscaler.GetMetricsRequest{ScaledObjectRef: pool, MetricName: metric.MetricName})
		if err != nil {
			return err
		}
		if wanted := metrics.MetricValues[0].MetricValueFloat; wanted != last {
			last, highest = wanted, max(highest, wanted)
			say("GetMetrics       %g workers wanted", wanted)
		}
		select {
		case told, open := <-pushed:
			if !open {
				return errors.New("the stream ended")
			}
			heard = append(heard, told)
			say("StreamIsActive   %t", told)
		case <-time.After(50 * time.Millisecond):
		}
		if len(polled) >= 3 && len(heard) >= 3 {
			break
		}
	}
	if got := fmt.Sprint(polled, heard); got != "[false true false] [false true false]" {
		return fmt.Errorf("the pool flapped: polled and pushed %s", got)
	}
	if highest < 1 || last != 0 {
		return fmt.Errorf("the metric rose to %g and ended at %g", highest, last)
	}
	return nil
}
