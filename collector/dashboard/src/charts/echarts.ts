/* The parts of ECharts that the page uses, and no others; loaded after the first paint. */
import { BarChart, ScatterChart } from "echarts/charts";
import { GridComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

use([BarChart, ScatterChart, GridComponent, TooltipComponent, CanvasRenderer]);

export { init };
