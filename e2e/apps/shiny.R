# A small app of R's shiny: a slider, and a text that follows it by the app's WebSocket.
# Run as: Rscript shiny.R PORT

library(shiny)

ui <- fluidPage(
  titlePanel("Waiting for the geyser"),
  sliderInput("bins", "Number of bins", min = 1, max = 50, value = 10),
  textOutput("double"),
  plotOutput("plot", height = "200px")
)

server <- function(input, output) {
  output$double <- renderText(paste("twice as many:", 2 * input$bins))
  output$plot <- renderPlot(hist(faithful$waiting, breaks = input$bins))
}

runApp(shinyApp(ui, server), host = "127.0.0.1", port = as.integer(commandArgs(TRUE)[1]), launch.browser = FALSE)
