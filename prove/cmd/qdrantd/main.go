// Command qdrantd is the embedded Qdrant (chunktide/devstack/qdrantd) as a
// process of its own, for the chaos runs. It forgets everything when it ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"chunktide/devstack/qdrantd"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	flag.Parse()
	if err := serve(*address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server, err := qdrantd.Start(qdrantd.Options{Addr: address})
	if err != nil {
		return err
	}
	defer server.Close()
	// Who started it reads this line.
	fmt.Printf("listening on %s\n", server.Addr())
	<-ctx.Done()
	return nil
}
