import io.prometheus.metrics.core.metrics.Counter;
import io.prometheus.metrics.core.metrics.Histogram;
import io.prometheus.metrics.core.metrics.Info;
import io.prometheus.metrics.core.metrics.StateSet;
import io.prometheus.metrics.core.metrics.Summary;
import io.prometheus.metrics.exporter.httpserver.HTTPServer;
import io.prometheus.metrics.instrumentation.jvm.JvmMetrics;
import io.prometheus.metrics.model.snapshots.Labels;

/** A page made by the JVM's Prometheus client, with one of everything. */
public class MetricsPage {
	public static void main(String[] args) throws Exception {
		JvmMetrics.builder().register();
		Counter orders = Counter.builder().name("peer_orders_total").help("Orders, with a \\ and a\nline end.").labelNames("kind").register();
		orders.labelValues("quoted \" and \\").incWithExemplar(3, Labels.of("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736", "span_id", "00f067aa0ba902b7"));
		orders.labelValues("ünicode").inc();
		Histogram.builder().name("peer_work_seconds").help("Work.").register().observe(0.2);
		Summary.builder().name("peer_wait_seconds").help("Waiting.").quantile(0.5).register().observe(1.5);
		Info.builder().name("peer_build_info").labelNames("version").register().setLabelValues("1.2.3");
		StateSet.builder().name("peer_mode").states("on", "off").register().setTrue("on");
		HTTPServer server = HTTPServer.builder().hostname("127.0.0.1").port(0).buildAndStart();
		System.out.println("listening on 127.0.0.1:" + server.getPort());
		Thread.currentThread().join(); // the server's own threads do not keep the program running
	}
}
